"""The contract over every registered strategy."""

from serbench.harness.contract import *  # noqa: F403
