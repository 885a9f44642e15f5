"""Tiles per second of a prediction, from memory and from COG to COG, against baselines measured in the same run.

    python benchmarks/predict.py --quick
    python benchmarks/predict.py --tiles 3 --json predict.json
    python benchmarks/predict.py --device cuda --tiles 256 --compile --json predict.json

Baselines, each with every available core and inference mode:
    release      as the published program runs the network: plain modules, NCHW, bf16 autocast, one tile per batch
    float32      this package's network, eager, one tile per batch
    bf16_batch   the same with bf16 autocast and our batch
Ours is `headwater predict`: --threads tiles in parallel on the CPU, --dtype, --batch-size, --compile.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from headwater import raster
from headwater.geo.grid import Cell, cell_grid, elevation_grid
from headwater.models.channels import PAPER, make_channels
from headwater.models.checkpoint import load_checkpoint, save_checkpoint
from headwater.models.shipped import default_checkpoints
from headwater.models.waternet import ChannelAttention, InstanceNorm, WaterNet, WaterNetConfig
from headwater.predict.devices import resolve_device, resolve_dtype
from headwater.predict.ensemble import Ensemble, EnsembleMember
from headwater.predict.pipeline import quantize
from headwater.predict.settings import PredictSettings
from headwater.predict.step import predict

TILE_PX, MARGIN_PX, SEED = 832, 64, 4
MATRIX_PX = {"cpu": 2048, "cuda": 8192}


def main() -> None:
    options = _arguments()
    if options.way == "cell":
        _run_cell(options)
        return
    device = resolve_device(options.device)
    on_gpu = device.startswith("cuda")
    count = options.tiles or (64 if on_gpu else 2)
    model = _network(4 if options.quick else options.base_channels).to(device)
    dtype = resolve_dtype(options.dtype, device, [model])
    tiles = [_tile(number) for number in range(min(count, 4))]
    ours = Ensemble([EnsembleMember(model, PAPER)], device=device, dtype=dtype, batch_size=options.batch_size,
                    compiled=options.compile)  # fmt: skip
    ours.settle_batch_size((TILE_PX, TILE_PX), count)
    figures: dict[str, object] = {
        "device": _name(device), "base_channels": model.config.base_channels, "tiles": count,
        "dtype": str(dtype).removeprefix("torch."), "batch_size": ours.batch_size, "compile": options.compile,
        "threads": options.threads,
    }  # fmt: skip
    ways = {
        "release": _eager(release_network(model).to(device), tiles, count, 1, torch.bfloat16, device),
        "float32": _eager(model, tiles, count, 1, None, device),
        "bf16_batch": _eager(model, tiles, count, ours.batch_size, torch.bfloat16, device),
        "ours": _ours(ours, tiles, count, 1 if on_gpu else options.threads),
    }
    rates = {name: count / _best_time(run, options.repeats, device) for name, run in ways.items()}
    flops = _flops(model.config)
    peak = _matrix_peak(device, dtype)
    figures |= {f"tiles_per_s_{name}": round(rate, 4) for name, rate in rates.items()}
    figures |= {
        "tiles_per_s": round(rates["ours"], 4),
        "ratio_vs_release": round(rates["ours"] / rates["release"], 3),
        "ratio_vs_float32": round(rates["ours"] / rates["float32"], 3),
        "tflop_per_tile": round(flops / 1e12, 4),
        "matrix_peak_tflops": round(peak / 1e12, 3),
        "share_of_matrix_peak": round(rates["ours"] * flops / peak, 4),
        "max_difference_p999": max_difference(device, dtype, tiles),
    }
    figures |= _cell_figures(options, model, rates["ours"])
    for key, value in figures.items():
        print(f"{key:28} {value}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="a network of 4 base channels")
    parser.add_argument("--base-channels", type=int, default=16)
    parser.add_argument("--tiles", type=int, help="tiles from memory (default 2 on the CPU, 64 on a GPU)")
    parser.add_argument("--repeats", type=int, default=1, help="timed runs of each method; the best counts (default 1)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", help="default: bf16 if the device supports it, unlike the step")
    parser.add_argument("--batch-size", type=int, default=0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--cell-degrees", type=float, help="side of the cell (default 0.1 on the CPU, 1 on a GPU)")
    parser.add_argument("--no-cell", action="store_true", help="from memory only")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


class PlainAttention(nn.Module):
    """The attention as published, with the map of 11 times the channels in memory."""

    def __init__(self, attention: ChannelAttention) -> None:
        super().__init__()
        self.parts = attention

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, y, x) -> (batch, out_channels, y, x)."""
        hidden = self.parts.conv_block1(x)
        mean = hidden.mean(dim=(2, 3), keepdim=True).expand_as(hidden)
        spread = hidden.std(dim=(2, 3), keepdim=True).expand_as(hidden)
        gate = torch.sigmoid(self.parts.conv_block2(torch.cat([x, mean, spread], dim=1)))
        return self.parts.channel_increase_conv(self.parts.norm(gate * x))


class PlainWaterNet(nn.Module):
    """WaterNet without channels-last."""

    def __init__(self, network: WaterNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities of channels."""
        x = self.network.attention(x)
        skips = [x]
        for encoder in self.network.encoders:
            x = encoder(x)
            skips.append(x)
        skips.pop()
        for decoder in self.network.decoders:
            x = decoder(x, skips.pop())
        return torch.sigmoid(self.network.fully_connected(x).float())


def release_network(model: WaterNet) -> nn.Module:
    """Return the network with PyTorch's own norms, the plain attention and weights in NCHW."""
    network = copy.deepcopy(model)
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, InstanceNorm):
                setattr(parent, name, _PlainNorm(child))
    network.attention = PlainAttention(network.attention)
    return PlainWaterNet(network).to(memory_format=torch.contiguous_format).eval()


class _PlainNorm(nn.Module):
    def __init__(self, norm: InstanceNorm) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.instance_norm(x, weight=self.weight, bias=self.bias)


def _network(base_channels: int) -> WaterNet:
    torch.manual_seed(SEED)
    return WaterNet(WaterNetConfig(base_channels=base_channels)).eval().requires_grad_(False)


def _place(shape: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth terrain and an image that follows it, with noise."""
    rng = np.random.default_rng(seed)
    relief = np.zeros(shape, np.float32)
    for width in (8, 32, 128):
        coarse = rng.normal(0, width, [side // width + 3 for side in shape]).astype(np.float32)
        relief += ndimage.zoom(coarse, width, order=1)[: shape[0], : shape[1]]
    bands = [np.clip(90 + relief * gain + rng.normal(0, 6, shape), 1, 255) for gain in (0.3, -0.1, 0.1, -0.05)]
    return np.stack(bands).astype(np.uint8), relief + np.float32(500)


def _tile(number: int) -> np.ndarray:
    return make_channels(*_place((TILE_PX, TILE_PX), SEED + number), PAPER)[0]


def _eager(
    model: nn.Module, tiles: list[np.ndarray], count: int, batch: int, autocast: torch.dtype | None, device: str
) -> Callable[[], None]:
    kind = torch.device(device).type

    def run() -> None:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        with torch.inference_mode(), torch.autocast(kind, autocast or torch.bfloat16, enabled=autocast is not None):
            for first in range(0, count, batch):
                some = [tiles[number % len(tiles)] for number in range(first, min(first + batch, count))]
                model(torch.from_numpy(np.stack(some)).to(device)).float().cpu()

    return run


def _ours(ensemble: Ensemble, tiles: list[np.ndarray], count: int, workers: int) -> Callable[[], None]:
    def run() -> None:
        torch.set_num_threads(1)
        size = ensemble.batch_size
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            futures = [
                pool.submit(ensemble.start, [[tiles[n % len(tiles)]] for n in range(first, min(first + size, count))])
                for first in range(0, count, size)
            ]
            for future in futures:
                for part in future.result():
                    part.cpu()

    return run


def _best_time(run: Callable[[], None], repeats: int, device: str) -> float:
    if device.startswith("cuda"):
        run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def _flops(config: WaterNetConfig) -> float:
    """Return the operations of a tile, two per multiply-add; counted on a quarter of a tile."""
    model, image = WaterNet(config).eval(), torch.zeros(1, config.in_channels, TILE_PX // 2, TILE_PX // 2)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(image)
    return 4.0 * counter.get_total_flops()


def _matrix_peak(device: str, dtype: torch.dtype) -> float:
    """Return operations per second (two per multiply-add) of one large product with all cores."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    side = MATRIX_PX[torch.device(device).type]
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))

    def run() -> None:
        for _ in range(5):
            a @ b

    run()
    return 5 * 2 * side**3 / _best_time(run, 3, device)


def max_difference(device: str, dtype: torch.dtype, tiles: list[np.ndarray]) -> int:
    """99.9th percentile of |difference| in 1/255 to float32 on the same device, with WaterNet of the package."""
    weights = load_checkpoint(default_checkpoints()[0])
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    maps = []
    for kind in (torch.float32, dtype):
        ensemble = Ensemble([EnsembleMember(weights.predictor, PAPER)], device=device, dtype=kind, batch_size=1)
        parts = [ensemble.start([[tile]])[0].cpu().numpy() for tile in tiles[:2]]
        maps.append(quantize(np.concatenate(parts)).astype(int))
    return int(np.quantile(np.abs(maps[0] - maps[1]), 0.999, method="higher"))


def _name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def _cell_figures(options: argparse.Namespace, model: WaterNet, rate: float) -> dict[str, object]:
    """Predict a complete cell from COG to COG in a separate process."""
    if options.no_cell:
        return {}
    on_gpu = resolve_device(options.device).startswith("cuda")
    degrees = options.cell_degrees or (1.0 if on_gpu else 0.1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_checkpoint(folder / "w.safetensors", model.cpu(), recipe=PAPER, license="none", dtype=torch.float32)
        _write_cell(folder, Cell(round(8 / degrees), round(12 / degrees), degrees))
        command = [
            sys.executable, __file__, "--way", "cell", "--folder", name, "--device", options.device,
            "--dtype", options.dtype,
            "--batch-size", str(options.batch_size), "--threads", str(options.threads), "--cell-degrees", str(degrees),
            *(["--compile"] if options.compile else []),
        ]  # fmt: skip
        figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return figures | {"cog_to_cog_share": round(figures["cog_to_cog_tiles_per_s"] / rate, 3)}


def _write_cell(folder: Path, cell: Cell) -> None:
    plan = {
        "basin_id": "1", "cell_degrees": cell.degrees, "margin_px": MARGIN_PX, "basin_bounds": list(cell.bounds),
        "cells": [{"name": cell.name, "bounds": list(cell.bounds)}],
    }  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(plan))
    grid, coarse = cell_grid(cell, margin_px=MARGIN_PX), elevation_grid(cell, margin_px=MARGIN_PX)
    bands, _ = _place(grid.shape, SEED)
    bands = np.concatenate([bands, np.ones((1, *grid.shape), np.uint8)])
    raster.write_cog(folder / "composite.tif", bands, transform=grid.transform, nodata=0)
    raster.write_cog(folder / "elevation.tif", _place(coarse.shape, SEED)[1][None], transform=coarse.transform)


def _run_cell(options: argparse.Namespace) -> None:
    from headwater.geo.grid import tiles

    cell = Cell(round(8 / options.cell_degrees), round(12 / options.cell_degrees), options.cell_degrees)
    count = len(tiles(cell_grid(cell, margin_px=MARGIN_PX).shape, tile_px=TILE_PX, overlap_px=208))
    folder, on_gpu = options.folder, resolve_device(options.device).startswith("cuda")
    busy = _Busy(on_gpu)
    with busy:
        predict(
            folder / "composite.tif", folder / "elevation.tif", cell.name, folder / "plan.json", folder / "p.tif",
            checkpoint=folder / "w.safetensors",
            settings=PredictSettings(
                device=options.device, dtype=options.dtype, compile=options.compile, batch_size=options.batch_size,
                threads=options.threads,
            ),
        )  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    figures = {"cell_tiles": count, "cog_to_cog_tiles_per_s": count / busy.wall_s, "busy_share": round(busy.share, 3)}
    figures |= {"peak_gb": round(torch.cuda.max_memory_allocated() / 2**30 if on_gpu else peak, 2)}
    print(json.dumps(figures | {"host_peak_gb": round(peak, 2)}))


class _Busy:
    """Return the fraction of the time in which the GPU, or all cores, were busy."""

    def __init__(self, on_gpu: bool) -> None:
        self.on_gpu, self.share, self.wall_s, self._seen = on_gpu, 0.0, 0.0, list[float]()
        self._end = threading.Event()

    def __enter__(self) -> None:
        self._start, self._cpu = time.perf_counter(), time.process_time()
        if self.on_gpu:
            self._thread = threading.Thread(target=self._watch)
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self.wall_s = time.perf_counter() - self._start
        self._end.set()
        if self.on_gpu:
            self._thread.join()
            self.share = float(np.mean(self._seen or [0])) / 100
        else:
            self.share = (time.process_time() - self._cpu) / self.wall_s / len(os.sched_getaffinity(0))

    def _watch(self) -> None:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not self._end.wait(0.2):
            self._seen.append(float(subprocess.run(command, capture_output=True, text=True).stdout.split()[0]))


if __name__ == "__main__":
    main()
