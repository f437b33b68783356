from toolkit.cli.main import run

raise SystemExit(run(["export", *__import__("sys").argv[1:]]))
