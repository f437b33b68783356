from toolkit.cli.main import run

raise SystemExit(run(["split", *__import__("sys").argv[1:]]))
