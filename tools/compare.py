from toolkit.cli.main import run

raise SystemExit(run(["compare", *__import__("sys").argv[1:]]))
