"""The command `qwen-embed bench`: options in, a run out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qwen_embed_integrations.api_keys import read_key

_PLAIN: dict[str, Any] = {
    "markup": False,
    "highlight": False,
    "soft_wrap": True,
}  # as it is: brackets, numbers and long paths
_INTERRUPTED = 130  # what a shell reports after Ctrl-C


def bench(
    *,
    data: Annotated[
        str, typer.Option(help="'stdlib-code', built from this Python's own sources, or a folder in BEIR's layout.")
    ] = "stdlib-code",
    queries: Annotated[Path | None, typer.Option(help="Query file, where it is not in the folder.")] = None,
    qrels: Annotated[Path | None, typer.Option(help="Judgements, where they are not in the folder.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Embedding model: a hub id or a folder, or with --base-url the server's name for it. May be repeated. "
            "The default is all-MiniLM-L6-v2 of the demo extra."
        ),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Server of the models, such as http://localhost:30000/v1.")
    ] = None,
    api_key_env: Annotated[str | None, typer.Option(help="Environment variable with the servers' API key.")] = None,
    dimensions: Annotated[
        str | None, typer.Option(help="Vector sizes to compare, such as 384,128. The default is the model's own.")
    ] = None,
    instruction: Annotated[str | None, typer.Option(help="Instruction for queries, for models that take one.")] = None,
    rerank: Annotated[str | None, typer.Option(help="Reranker over the first vector size of each model.")] = None,
    rerank_base_url: Annotated[str | None, typer.Option(help="Server of the reranker.")] = None,
    rerank_depth: Annotated[int, typer.Option(help="Documents to rerank for each query.", min=1)] = 50,
    bm25: Annotated[bool, typer.Option("--bm25/--no-bm25", help="Compare with BM25.")] = True,
    fusion: Annotated[
        bool, typer.Option("--fusion/--no-fusion", help="Compare with each model fused with BM25, if that takes part.")
    ] = True,
    output: Annotated[Path, typer.Option(help="Folder for results.json and report.html.")] = Path("bench-results"),
    limit: Annotated[int | None, typer.Option(help="Use so many of the queries, picked by the seed.", min=1)] = None,
    latency_queries: Annotated[int, typer.Option(help="Queries that are also sent one by one for time.", min=1)] = 200,
    ef_search: Annotated[int, typer.Option(help="Candidates that Chroma keeps while searching.", min=1)] = 500,
    seed: Annotated[int, typer.Option(help="Seed of samples and statistics.", min=0)] = 0,
    device: Annotated[str, typer.Option(help="Device of local models.")] = "auto",
    dtype: Annotated[str, typer.Option(help="Number format of local models.")] = "auto",
) -> None:
    """Measure retrieval over Chroma: embedding models, reranking, BM25 and their fusion."""
    # Loaded here, since the other commands must start fast.
    from rich.console import Console  # noqa: PLC0415

    from qwen_embed_integrations.benchmark.console import ConsoleProgress, print_results  # noqa: PLC0415
    from qwen_embed_integrations.benchmark.datasets import load  # noqa: PLC0415
    from qwen_embed_integrations.benchmark.index import IndexSettings  # noqa: PLC0415
    from qwen_embed_integrations.benchmark.lineup import build_lineup, parse_dimensions  # noqa: PLC0415
    from qwen_embed_integrations.benchmark.models import Models, public_url  # noqa: PLC0415
    from qwen_embed_integrations.benchmark.runner import REPORT_FILE, RESULTS_FILE, run  # noqa: PLC0415

    sizes = parse_dimensions(dimensions)
    console, messages = Console(), Console(stderr=True)
    with (
        ConsoleProgress(messages) as progress,
        Models(device=device, dtype=dtype, instruction=instruction, api_key=read_key(api_key_env)) as models,
    ):
        progress.stage(f"Reading {data}")
        dataset = load(data, queries=queries, qrels=qrels)
        if limit is not None:
            dataset = dataset.sample(limit, seed=seed)
        progress.stage("Loading the models")
        systems = build_lineup(
            models.embedders(model or [], base_url=base_url),
            dimensions=sizes,
            reranker=models.reranker(rerank, base_url=rerank_base_url),
            rerank_depth=rerank_depth,
            bm25=bm25,
            fusion=fusion,
        )
        try:
            results = run(
                dataset,
                systems,
                output,
                index=IndexSettings(ef_search=ef_search),
                latency_queries=latency_queries,
                seed=seed,
                settings={
                    "base_url": public_url(base_url),
                    "rerank_base_url": public_url(rerank_base_url),
                    "instruction": instruction,
                    "limit": limit,
                    "device": device,
                    "dtype": dtype,
                },
                progress=progress,
            )
        except KeyboardInterrupt:
            messages.print(
                f"qwen-embed: interrupted; the systems that finished are in {output / RESULTS_FILE} and "
                f"{output / REPORT_FILE}",
                **_PLAIN,
            )
            raise typer.Exit(_INTERRUPTED) from None
    print_results(console, results)
    console.print(f"The report: {output / REPORT_FILE}", **_PLAIN)
    if results.failed:
        names = ", ".join(system.name for system in results.failed)
        messages.print(
            f"qwen-embed: {len(results.failed)} of {len(results.systems)} systems failed: {names}", markup=False
        )
        raise typer.Exit(1)
