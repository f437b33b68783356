from toolkit.cli.main import run

raise SystemExit(run(["schema", *__import__("sys").argv[1:]]))
