from toolkit.cli.main import run

raise SystemExit(run(["weights", *__import__("sys").argv[1:]]))
