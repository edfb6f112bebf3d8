from rsagent.cli import main

main()
