from toolkit.cli.main import run

raise SystemExit(run(["merge", *__import__("sys").argv[1:]]))
