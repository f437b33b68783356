from toolkit.cli.main import run

raise SystemExit(run(["study", *__import__("sys").argv[1:]]))
