"""Published benchmarks and own data, one file each: what is measured, on which files, by which protocol."""
