from . import filters as filters
from .generation import generate as generate
from .llm.asking import Asker as Asker, Request as Request
from .llm.cache import CallCache as CallCache
from .llm.client import LLM as LLM, open_llm as open_llm
from .llm.options import Effort as Effort, Endpoint as Endpoint, LLMOptions as LLMOptions
from .llm.server import find_model as find_model, serve_local as serve_local
from .options import Checks as Checks, Known as Known, SynthesisOptions as SynthesisOptions
from .plan import check_prompt as check_prompt, check_start as check_start
from .prompts import load_prompt as load_prompt
from .questions import (
    read_thrown_out as read_thrown_out,
    save_documents as save_documents,
    training_pairs as training_pairs,
    without as without,
)
from .result import SynthesisResult as SynthesisResult
from .sieve import check_checks as check_checks, embed_chunks as embed_chunks
from .sifting import check_written as check_written, sift as sift
from .task import (
    DIFFICULTIES as DIFFICULTIES,
    LENGTHS as LENGTHS,
    PERSONAS as PERSONAS,
    REGISTERS as REGISTERS,
    Task as Task,
    document_task as document_task,
    read_task as read_task,
)
from .written import WrittenTexts as WrittenTexts, read_written as read_written
