from toolkit.cli.main import run

raise SystemExit(run(["init", *__import__("sys").argv[1:]]))
