"""Speed and memory as ratios against the best peer: `python -m benchmarks` measures every row and prints one table."""
