from toolkit.cli.main import run

raise SystemExit(run(["doctor", *__import__("sys").argv[1:]]))
