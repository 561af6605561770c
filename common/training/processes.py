"""Training in more than one process: which one this is, and its share of a batch."""

from __future__ import annotations

import json
import os

from ..errors import RosettaError
from ..images.batches import Batches

# ------------------------------------------------------------------ more than one process


def process() -> tuple[int, int]:
    """This process's number and how many there are, by torchrun, Lightning or TF_CONFIG.

    Raises:
        RosettaError: TF_CONFIG is damaged, or has other tasks than workers.
    """
    environment = os.environ
    if "TF_CONFIG" in environment:
        try:
            config = json.loads(environment["TF_CONFIG"])
            cluster, task = config["cluster"], config["task"]
            if set(cluster) != {"worker"} or task["type"] != "worker":
                raise RosettaError("TF_CONFIG has other tasks than workers; make them workers")
            return int(task["index"]), len(cluster["worker"])
        except RosettaError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise RosettaError(
                f"TF_CONFIG is not as TensorFlow wants it ({error!r}); see its guide"
            ) from error
    number = environment.get("RANK", environment.get("LOCAL_RANK", "0"))
    return int(number), int(environment.get("WORLD_SIZE", "1"))


def check_shares(batches: Batches, devices: int, pieces: int = 1) -> None:
    """A batch must come out even, also where every device goes through its share in pieces.

    Raises:
        RosettaError: it does not.
    """
    if batches.batch % (devices * pieces):
        each = f", each of which goes through {pieces} equal parts of its own" * (pieces > 1)
        raise RosettaError(
            f"a batch of {batches.batch} images cannot be shared evenly by {devices} devices{each}",
            argument="batch",
        )
