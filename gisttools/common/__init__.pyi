from .addresses import (
    host_of as host_of,
    hosts_elsewhere as hosts_elsewhere,
    is_local as is_local,
    same_address as same_address,
)
from .cards import (
    LICENCES as LICENCES,
    HubKind as HubKind,
    card_head as card_head,
    card_languages as card_languages,
    card_problems as card_problems,
    known_licence as known_licence,
    licence_fields as licence_fields,
    size_category as size_category,
    split_card as split_card,
    whole_card as whole_card,
)
from .endpoints import (
    Health as Health,
    busy as busy,
    error_words as error_words,
    final_words as final_words,
    in_background as in_background,
    open_client as open_client,
    passing as passing,
    with_retries as with_retries,
)
from .errors import (
    DataError as DataError,
    EndpointError as EndpointError,
    GistError as GistError,
    MissingError as MissingError,
    ModelError as ModelError,
    ParameterError as ParameterError,
    did_you_mean as did_you_mean,
    first_line as first_line,
    problems as problems,
)
from .files import (
    cache_folder as cache_folder,
    digest as digest,
    sha256 as sha256,
    whole_file as whole_file,
    write_whole as write_whole,
)
from .options import Options as Options
from .processor import cpu_name as cpu_name
from .progress import (
    NEW_STATUS as NEW_STATUS,
    NOTICES as NOTICES,
    STATUS_FILE as STATUS_FILE,
    doing as doing,
    in_notebook as in_notebook,
    notice as notice,
    quiet_libraries as quiet_libraries,
    time_left as time_left,
    tqdm as tqdm,
)
from .project import (
    PACKAGE as PACKAGE,
    LaidOut as LaidOut,
    lay_out as lay_out,
    notebooks_folder as notebooks_folder,
    project_root as project_root,
    prompts_folder as prompts_folder,
    recipes_folder as recipes_folder,
    results_folder as results_folder,
)
from .runs import (
    MANIFEST as MANIFEST,
    SUMMARY as SUMMARY,
    FinishedRun as FinishedRun,
    ancestors as ancestors,
    read_run as read_run,
)
from .secrets import (
    known_secrets as known_secrets,
    may_hold as may_hold,
    named_like_a_secret as named_like_a_secret,
    redact as redact,
    redact_shapes as redact_shapes,
    safe_url as safe_url,
    secret_in as secret_in,
    without_secrets as without_secrets,
)
from .thresholds import share_of as share_of
from .wording import (
    NOT_RUN as NOT_RUN,
    anonymous as anonymous,
    count as count,
    dollars as dollars,
    duration as duration,
    folded as folded,
    is_number as is_number,
    is_true as is_true,
    model_name as model_name,
    p_value as p_value,
    plain as plain,
    plural as plural,
    score as score,
    share as share,
    shortened as shortened,
    signed as signed,
    trained_as as trained_as,
    unit as unit,
    value_name as value_name,
)
from .yaml_text import (
    YamlProblem as YamlProblem,
    first_lines as first_lines,
    parse_yaml as parse_yaml,
    read_yaml as read_yaml,
)
