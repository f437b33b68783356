from toolkit.cli.main import run

raise SystemExit(run(["check", *__import__("sys").argv[1:]]))
