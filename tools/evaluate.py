from toolkit.cli.main import run

raise SystemExit(run(["evaluate", *__import__("sys").argv[1:]]))
