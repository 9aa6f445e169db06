"""Neural architecture search on Optuna: a declared space, random or TPE sampling, trials that can be resumed."""

from saccade.train.nas.search import SearchResult, Trial, TrialRecord, search
from saccade.train.nas.space import Block, Choice, Float, Int, Repeat, SearchSpace

__all__ = [
    "Block",
    "Choice",
    "Float",
    "Int",
    "Repeat",
    "SearchResult",
    "SearchSpace",
    "Trial",
    "TrialRecord",
    "search",
]
