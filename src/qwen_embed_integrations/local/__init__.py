"""Models in this process: loading, packing, pooling, scoring; one worker that all callers share."""
