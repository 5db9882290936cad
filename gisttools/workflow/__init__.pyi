from .cleaning import (
    Kind as Kind,
    Removal as Removal,
    removable as removable,
    removable_by_name as removable_by_name,
    remove as remove,
    stale_checkpoints as stale_checkpoints,
    verify_run as verify_run,
)
from .evaluations import (
    contenders_to_compare as contenders_to_compare,
    read_trials as read_trials,
    write_pages as write_pages,
)
from .execute import Rerun as Rerun
from .folders import (
    RUN_ID as RUN_ID,
    Listed as Listed,
    all_runs as all_runs,
    find_run as find_run,
    find_runs as find_runs,
    run_facts as run_facts,
)
from .inputs import (
    development_of as development_of,
    eval_sets_of as eval_sets_of,
    folder_of as folder_of,
    guide_of as guide_of,
    known_of as known_of,
    model_path as model_path,
    open_entries as open_entries,
    paths as paths,
    prompt_of as prompt_of,
    retention_of as retention_of,
    rows_cost as rows_cost,
    save as save,
    sources_of as sources_of,
    tiers_of as tiers_of,
)
from .manifest import hardware as hardware, scrub as scrub, write_manifest as write_manifest
from .params import MINILM as MINILM, VERBS as VERBS, WORDLLAMA as WORDLLAMA, check_params as check_params
from .parents import evaluations_of as evaluations_of
from .places import (
    load_env_files as load_env_files,
    project_root as project_root,
    resolve as resolve,
    results_folder as results_folder,
)
from .publishing import PUBLISH_TO as PUBLISH_TO, publish as publish
from .python_runs import new_run as new_run
from .recipes import Step as Step
from .schedule import checked_recipe as checked_recipe, plan as plan, run_recipe as run_recipe
from .session import Run as Run, start as start
from .shards import run_single as run_single
