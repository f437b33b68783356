from toolkit.cli.main import run

raise SystemExit(run(["report", *__import__("sys").argv[1:]]))
