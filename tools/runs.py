from toolkit.cli.main import run

raise SystemExit(run(["runs", *__import__("sys").argv[1:]]))
