"""Others' weights into the user's model store, as checkpoints that a training can start from."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from stream.errors import MissingExtraError
from stream.models.dpt_import import import_dpt
from stream.models.store import add_file, open_model
from stream.training.checkpoint import AVERAGE

try:
    from safetensors.torch import save_file
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("safetensors", "train") from error

DATA = "what its publishers trained it on, for depth of any scene; the head for faces is not trained yet"


def store_dpt(file: Path, name: str, licence: str) -> Path:
    """Check DPT-Large's published weights and put them into the store of imported models.

    :param licence: of the weights, as their publisher states it.
    :returns: where the checkpoint lies.
    :raises ModelError: the file is not DPT-Large (`import_dpt`), or the name is another model's.
    :raises OutputError: the store cannot be written.
    """
    network = import_dpt(file)
    state = {"task": "depth", "architecture": network.architecture, "options": network.options(), "step": 0}
    tensors = {AVERAGE + key: value.contiguous() for key, value in network.state_dict().items()}
    image = {"name": "image", "shape": (None, 3, None, None), "dtype": "float32"}
    depth = {"name": "depth", "shape": (None, 1, None, None), "dtype": "float32"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        save_file(tensors, path, metadata={"state": json.dumps(state)})
        entry: dict[str, object] = {
            "name": name,
            "task": "depth",
            "file": f"{name}.safetensors",
            "licence": licence,
            "inputs": [image],
            "outputs": [depth],
            "crop_size": None,
            "data": DATA,
            "accuracy": {},
        }
        add_file("imported", path, entry)
    return open_model(name)
