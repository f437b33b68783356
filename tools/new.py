from toolkit.cli.main import run

raise SystemExit(run(["new", *__import__("sys").argv[1:]]))
