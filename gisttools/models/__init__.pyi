from .classifier import (
    C as C,
    Classifier as Classifier,
    Linear as Linear,
    calibration_error as calibration_error,
    encode_of as encode_of,
    fit_linear as fit_linear,
    linear_of as linear_of,
    measured_on as measured_on,
    read_linear as read_linear,
    threshold_for as threshold_for,
)
from .custom_code import keep_code as keep_code, trusted as trusted
from .endpoint import EndpointGuide as EndpointGuide
from .exporting import (
    check_onnx as check_onnx,
    shortened as shortened,
    weights_of as weights_of,
    write_onnx as write_onnx,
)
from .guides import (
    ENDINGS as ENDINGS,
    ModelGuide as ModelGuide,
    ShardedGuide as ShardedGuide,
    embed_shard as embed_shard,
    open_guide as open_guide,
    use_told_threads as use_told_threads,
)
from .loading import (
    INSTALL_OFFLINE as INSTALL_OFFLINE,
    is_static as is_static,
    native_bfloat16 as native_bfloat16,
    open_model as open_model,
    reading_sha as reading_sha,
    revision_of as revision_of,
    weights_sha as weights_sha,
)
from .numbered_texts import (
    NumberedTexts as NumberedTexts,
    TableVectors as TableVectors,
    numbered as numbered,
    text_columns_as_keys as text_columns_as_keys,
)
from .options import (
    EMBEDDED as EMBEDDED,
    EMBEDDED_MODELS as EMBEDDED_MODELS,
    ENDPOINT as ENDPOINT,
    GuideOptions as GuideOptions,
    guide_hosts as guide_hosts,
)
from .prompts import (
    Prompts as Prompts,
    RowPrompts as RowPrompts,
    is_search as is_search,
    prompts_in_words as prompts_in_words,
    prompts_of as prompts_of,
    settle_prompts as settle_prompts,
)
from .reading import (
    Reading as Reading,
    check_length as check_length,
    probe as probe,
    reading_of as reading_of,
    student_reading as student_reading,
)
from .reranker import Reranker as Reranker, open_cross_encoder as open_cross_encoder
from .searching import Hit as Hit, search as search
from .spread import ALIKE as ALIKE, Spread as Spread, spread_of as spread_of
from .tokens import TokenCounter as TokenCounter, token_counter as token_counter
from .vectors import KEY as KEY, VectorCache as VectorCache, VectorFolder as VectorFolder, text_keys as text_keys
