from .characters import (
    UNSPACED as UNSPACED,
    broken as broken,
    cleaned as cleaned,
    count_unseen as count_unseen,
    has_halves as has_halves,
    normalise as normalise,
    tell_unseen as tell_unseen,
)
from .chunk_table import (
    CHUNKS_FILE as CHUNKS_FILE,
    CORPUS_FILE as CORPUS_FILE,
    ReadChunks as ReadChunks,
    load_chunks as load_chunks,
    read_chunks as read_chunks,
)
from .chunks import (
    Chunk as Chunk,
    Chunks as Chunks,
    CountTokens as CountTokens,
    count_words as count_words,
    document_of as document_of,
    make_chunks as make_chunks,
    split_chunks as split_chunks,
)
from .columns import (
    ANCHOR_COLUMNS as ANCHOR_COLUMNS,
    LABEL_COLUMNS as LABEL_COLUMNS,
    MODEL_COLUMNS as MODEL_COLUMNS,
    PASSAGE_COLUMNS as PASSAGE_COLUMNS,
    POSITIVE_COLUMNS as POSITIVE_COLUMNS,
    SEED_COLUMNS as SEED_COLUMNS,
    TEXT_COLUMNS as TEXT_COLUMNS,
    WRITTEN_COLUMNS as WRITTEN_COLUMNS,
    anchor_and_positive as anchor_and_positive,
    find_column as find_column,
    find_nested as find_nested,
    is_triplet_shaped as is_triplet_shaped,
    labelled_columns as labelled_columns,
    negative_columns as negative_columns,
    tell_left_out as tell_left_out,
)
from .copies import near_groups as near_groups
from .documents import Document as Document, Documents as Documents, read_documents as read_documents
from .files import (
    FILE_ENDINGS as FILE_ENDINGS,
    LINE_ENDINGS as LINE_ENDINGS,
    RowFile as RowFile,
    column_names as column_names,
    file_kind as file_kind,
    is_lines as is_lines,
    plain_name as plain_name,
    read_lines as read_lines,
    read_parts as read_parts,
    read_rows as read_rows,
)
from .folder_rows import read_scored as read_scored
from .folder_tasks import local_tasks as local_tasks
from .folders import (
    EvalFolder as EvalFolder,
    eval_folder as eval_folder,
    has_split as has_split,
    parse_eval_name as parse_eval_name,
    task_name as task_name,
)
from .hub import (
    find_set as find_set,
    is_hub_name as is_hub_name,
    open_stream as open_stream,
    parse_hub_name as parse_hub_name,
)
from .labelled import LONGEST as LONGEST, LabelledTexts as LabelledTexts, read_labelled as read_labelled
from .languages import (
    language_code as language_code,
    language_identifier as language_identifier,
    languages_of as languages_of,
)
from .leaving import Leaving as Leaving, tell_for_run as tell_for_run
from .mteb_tasks import (
    cleaned_task as cleaned_task,
    load_task as load_task,
    mteb_task as mteb_task,
    parse_task_name as parse_task_name,
    subset_of as subset_of,
    task_names as task_names,
    train_texts_in_test as train_texts_in_test,
)
from .near_duplicates import NearIndex as NearIndex, jaccard as jaccard, near_pairs as near_pairs, trigrams as trigrams
from .options import (
    NEAR as NEAR,
    ChunkOptions as ChunkOptions,
    FileOptions as FileOptions,
    ReadOptions as ReadOptions,
    RowGroup as RowGroup,
    Tiers as Tiers,
    texts_read as texts_read,
)
from .overlap import (
    SHARED_COLUMNS as SHARED_COLUMNS,
    TIERS as TIERS,
    all_texts_of as all_texts_of,
    drop_overlap as drop_overlap,
    eval_sets as eval_sets,
    eval_task as eval_task,
    find_duplicates as find_duplicates,
    find_overlap as find_overlap,
    refuse_shared as refuse_shared,
    shared_texts as shared_texts,
    split_of as split_of,
    table_texts as table_texts,
    texts_of as texts_of,
)
from .parts import DEV_SPLITS as DEV_SPLITS, shares_of as shares_of, split_file as split_file
from .personal import count_personal as count_personal
from .retrieval_files import Question as Question, write_retrieval as write_retrieval
from .row_groups import without_groups as without_groups, wrong_groups as wrong_groups
from .saved import is_saved as is_saved
from .searches import (
    passage_of as passage_of,
    read_search as read_search,
    search_layout as search_layout,
    search_pairs as search_pairs,
    search_revision as search_revision,
)
from .sentences import save_sentence_pairs as save_sentence_pairs, sentence_pairs as sentence_pairs
from .sources import (
    expand_sources as expand_sources,
    is_task as is_task,
    kind_of as kind_of,
    read_sources as read_sources,
)
from .splitting import split_texts as split_texts
from .structure import Block as Block
from .suspicions import ids_in as ids_in
from .triplet_sets import (
    concatenate as concatenate,
    count_rows as count_rows,
    nested_subset as nested_subset,
    number_sets as number_sets,
    triplet_tables as triplet_tables,
)
from .triplets import (
    COLUMNS as COLUMNS,
    as_dataset as as_dataset,
    blocks as blocks,
    fingerprint as fingerprint,
    make_triplets_from_columns as make_triplets_from_columns,
    most_negatives as most_negatives,
    padded_columns as padded_columns,
    read_triplets as read_triplets,
    slots as slots,
    triplet_id as triplet_id,
    write_triplets as write_triplets,
)
from .words import WordIndex as WordIndex
