from toolkit.cli.main import run

raise SystemExit(run(["describe", *__import__("sys").argv[1:]]))
