from toolkit.cli.main import run

raise SystemExit(run(["list", *__import__("sys").argv[1:]]))
