from toolkit.cli.main import run

raise SystemExit(run(["predict", *__import__("sys").argv[1:]]))
