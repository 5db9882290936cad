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
    read_trainings as read_trainings,
    write_pages as write_pages,
)
from .execute import Rerun as Rerun, run_notebook as run_notebook
from .folders import (
    RUN_ID as RUN_ID,
    ListedRun as ListedRun,
    all_runs as all_runs,
    as_run as as_run,
    find_run as find_run,
    find_runs as find_runs,
    run_facts as run_facts,
)
from .groups import grouped as grouped
from .manifest import hardware as hardware, scrub as scrub, write_manifest as write_manifest
from .params import MINILM as MINILM, VERBS as VERBS, WORDLLAMA as WORDLLAMA, check_params as check_params
from .permission import asking as asking
from .places import load_env_files as load_env_files, resolve as resolve
from .publishing import PUBLISH_TO as PUBLISH_TO, publish as publish
from .recipes import Step as Step
from .schedule import (
    checked_recipe as checked_recipe,
    preview as preview,
    run_recipe as run_recipe,
    sweep as sweep,
)
from .sending import Sent as Sent, send as send
from .session import Run as Run, new_run as new_run, start as start, start_lesson as start_lesson
from .sharing import WHATS as WHATS, Parcel as Parcel, What as What, packed as packed
from .single import run_single as run_single
from .using import check_against as check_against, model_folder as model_folder, model_named as model_named
