from toolkit.cli.main import run

raise SystemExit(run(["demo", *__import__("sys").argv[1:]]))
