"""OpenVINO and ONNX Runtime on a CPU over padded batches, compiled from transformers' own modules.

sentence-transformers' backends for them need optimum, which has no release for transformers 5. This drives the engines
as optimum does: one graph for all lengths, texts sorted by length, cut into batches and padded to the longest. OpenVINO
runs a batch at a time with all cores, or two at once with half of them each.
"""

from __future__ import annotations

import gc
import tempfile
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch import nn

from support.machine import physical_cores
from support.padded import Padded, pool

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy as np

    from support.padded import Batch
    from support.shapes import Shape

_OPSET = 18


class _Pooled(nn.Module):
    """A model from token ids to unit vectors, padding on the right."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        super().__init__()
        load: Any = transformers.AutoModel.from_pretrained
        self.model = load(folder, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True).eval()
        self._pooling = shape.pooling
        self._causal = shape.kind == "qwen3"

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return unit vectors of shape `(n, dimensions)`."""
        # The mask is made here: transformers' own way of making it cannot be traced.
        length = input_ids.shape[1]
        visible = attention_mask.bool()[:, None, None, :].expand(-1, 1, length, length)
        if self._causal:
            places = torch.arange(length)
            visible = visible & (places[None, :] <= places[:, None])
        mask = torch.zeros(visible.shape).masked_fill(~visible, -1e9)
        given: Any = {"full_attention": mask} if self._causal else mask
        options: dict[str, Any] = {"use_cache": False} if self._causal else {}
        states = self.model(input_ids, attention_mask=given, **options).last_hidden_state
        return pool(states, attention_mask, self._pooling)


class OpenVino(Padded):
    """OpenVINO, computing in bfloat16 or float32, some batches at a time."""

    def __init__(self, folder: Path, shape: Shape, dtype: torch.dtype, streams: int = 1) -> None:
        import openvino  # noqa: PLC0415 installed where it is compared with

        super().__init__(folder, shape)
        self.name = "OpenVINO" if streams == 1 else f"OpenVINO, {streams} streams"
        core = openvino.Core()
        with torch.no_grad():
            module = _Pooled(folder, shape)
            graph = openvino.convert_model(module, example_input=_example())
        compiled = core.compile_model(
            graph,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "bf16" if dtype == torch.bfloat16 else "f32",
                "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
                "NUM_STREAMS": str(streams),
                "INFERENCE_NUM_THREADS": str(physical_cores()),
            },
        )
        queue = openvino.AsyncInferQueue(compiled, streams)

        def compute(batches: Iterable[Batch]) -> list[np.ndarray]:
            rows: dict[int, np.ndarray] = {}
            queue.set_callback(lambda done, index: rows.update({index: done.get_output_tensor(0).data.copy()}))
            for index, (ids, mask) in enumerate(batches):
                queue.start_async([ids, mask], index)
            queue.wait_all()
            return [rows[index] for index in range(len(rows))]

        self._compute = compute
        del module, graph
        gc.collect()


class OnnxRuntime(Padded):
    """ONNX Runtime, which on a CPU computes in float32."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        import onnxruntime  # noqa: PLC0415 installed where it is compared with

        if find_spec("onnx") is None:
            raise ModuleNotFoundError("No module named 'onnx'")
        super().__init__(folder, shape)
        self.name = "ONNX Runtime (fp32)"
        self._folder = tempfile.TemporaryDirectory()
        target = f"{self._folder.name}/fp32.onnx"
        with torch.no_grad():
            torch.onnx.export(
                _Pooled(folder, shape),
                tuple(_example().values()),
                target,
                input_names=["input_ids", "attention_mask"],
                output_names=["vectors"],
                dynamic_axes={name: {0: "batch", 1: "tokens"} for name in ("input_ids", "attention_mask")},
                opset_version=_OPSET,
                dynamo=False,
            )
        gc.collect()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = physical_cores()
        session = onnxruntime.InferenceSession(target, options, providers=["CPUExecutionProvider"])
        self._compute = lambda batches: [
            session.run(None, {"input_ids": ids, "attention_mask": mask})[0] for ids, mask in batches
        ]

    def close(self) -> None:
        """Free the model."""
        super().close()
        self._folder.cleanup()


def _example() -> dict[str, torch.Tensor]:
    mask = torch.ones(2, 7, dtype=torch.long)
    mask[1, 5:] = 0
    return {"input_ids": torch.arange(14).reshape(2, 7) + 5, "attention_mask": mask}
