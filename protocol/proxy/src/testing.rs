//! For tests and fuzzing: a proxy as a worker runs it, and the bodies of the fuzz targets.
