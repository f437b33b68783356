from toolkit.cli.main import run

raise SystemExit(run(["train", *__import__("sys").argv[1:]]))
