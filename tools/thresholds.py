from toolkit.cli.main import run

raise SystemExit(run(["thresholds", *__import__("sys").argv[1:]]))
