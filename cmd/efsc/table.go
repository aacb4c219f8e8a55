package main

// The flags that several commands have.
var (
	flagJSON      = flag{0, "json", "one JSON object a line"}
	flagRecursive = flag{'r', "recursive", "directories with all below them"}
	flagKeep      = flag{'n', "no-clobber", "leave alone what is there already"}
	flagHuman     = flag{'h', "human", "sizes as 1.5K, 23M (of 1,024 bytes and so on)"}
)

var commands []command

// The table refers to the commands, and help and completion to the table.
func init() {
	commands = []command{
		{name: "post", usage: "post PATH [FILE | <<WORD]", short: "store a local file, or what is typed or pasted up to Ctrl-D",
			long:    "Stores a local file; or what is typed or pasted up to Ctrl-D (in a script, the rest of\nthe input); or the lines up to one that is WORD alone. Directories above PATH are made.",
			example: "post /patients/173/note.txt\npost /patients/173/scan.png ./scan.png\npost /notes/a.txt <<END",
			min:     1, max: 3, kinds: []kind{aRemote, aLocal}, run: (*shell).post},
		{name: "put", usage: "put [-rnL] LOCAL [REMOTE]", short: "store local files, with -r trees",
			long:    "Stores a local file, or those that a pattern matches, under REMOTE or in that directory;\nwithout REMOTE in the current directory. With -r, directories with all below them.",
			example: "put scan.png /patients/173/\nput *.pdf /reports/\nput -r Documents /",
			flags:   []flag{flagRecursive, flagKeep, {'L', "dereference", "what symbolic links in a tree point to"}},
			min:     1, max: 2, kinds: []kind{aLocal, aRemote}, run: (*shell).put},
		{name: "get", usage: "get [-rn] REMOTE [LOCAL | -]", short: "read into a local copy, or into LOCAL, or show it (-)",
			long:    "Without LOCAL, makes a decrypted local copy, which clear-cache wipes, and says where it lies.\nWith LOCAL, writes that file (or into that directory): whole or not at all. With -, shows it.",
			example: "get /patients/173/scan.png\nget /patients/173/scan.png scan.png\nget /notes/a.txt -\nget -r /reports ./reports",
			flags:   []flag{flagRecursive, flagKeep}, min: 1, max: 2, kinds: []kind{aRemote, aLocal}, run: (*shell).get},
		{name: "cat", usage: "cat PATH…", short: "show files",
			long:    "Shows files, one after the other. A terminal is shown text only.",
			example: "cat /notes/*.txt", min: 1, max: anyNumber, kinds: []kind{aRemote}, run: (*shell).cat},
		{name: "ls", usage: "ls [-ldRh] [--json] [PATH…]", short: "list directories",
			example: "ls\nls -l /patients/*/scan.png\nls --json /patients",
			flags: []flag{{'l', "long", "with mode, size and time of modification"}, {'d', "directory", "directories themselves, not what is in them"},
				{'R', "recursive", "everything below, with paths"}, flagHuman, flagJSON},
			max: anyNumber, kinds: []kind{aRemote}, run: (*shell).ls},
		{name: "tree", usage: "tree [PATH]", short: "show a directory with all below it",
			example: "tree /patients/173", max: 1, kinds: []kind{aRemoteDir}, run: (*shell).tree},
		{name: "du", usage: "du [-hs] [--json] [PATH…]", short: "show how many bytes the files below directories hold",
			long:    "Shows of each directory how many bytes the files in and below it hold: what was stored,\nnot what it takes on the server's volume.",
			example: "du -h /patients\ndu -s *",
			flags:   []flag{flagHuman, {'s', "summarize", "only PATH itself"}, flagJSON},
			max:     anyNumber, kinds: []kind{aRemote}, run: (*shell).du},
		{name: "find", usage: "find [PATH…] [-name GLOB] [-type f|d|l] [-size [+|-]N[k|M|G]] [-newer PATH|TIME] [--json]", short: "find files by name, type, size and time",
			long:    "Shows the paths that fit all that is given.\n  -name GLOB    the last name matches: * ? [abc]\n  -type f|d|l   a file, a directory, a symbolic link\n  -size N       bytes, or k, M, G of 1,024 and so on; +N more than that, -N less\n  -newer WHEN   modified after the file at that path, or after a time: 2026-11-21,\n                2026-11-21T14:00, 2026-11-21T14:00:00Z\n  --json        one JSON object a line",
			example: "find /patients -name *.pdf -size +1M\nfind -type d\nfind / -newer 2026-11-01",
			max:     anyNumber, kinds: []kind{aRemote}, raw: true, run: (*shell).find},
		{name: "stat", usage: "stat [--json] PATH…", short: "show what is known of files and directories",
			example: "stat /patients/173/scan.png", flags: []flag{flagJSON},
			min: 1, max: anyNumber, kinds: []kind{aRemote}, run: (*shell).stat},
		{name: "mkdir", usage: "mkdir [-p] PATH…", short: "make directories", long: "Makes directories, and those above them. Files do not need it: storing one makes the\ndirectories above it.",
			example: "mkdir /patients/174\nmkdir -p /a/b/c", flags: []flag{{'p', "parents", "what is there already is no error"}},
			min: 1, max: anyNumber, kinds: []kind{aRemoteDir}, run: (*shell).mkdir},
		{name: "mv", usage: "mv [-n] SOURCE… TARGET", short: "move or rename", long: "Moves a file or directory, in one step, to the path TARGET or into the directory TARGET.",
			example: "mv a.txt b.txt\nmv /inbox/*.pdf /patients/173/", flags: []flag{flagKeep},
			min: 2, max: anyNumber, kinds: []kind{aRemote}, run: (*shell).mv},
		{name: "cp", usage: "cp [-rn] SOURCE… TARGET", short: "copy within the file system", long: "Copies on the server, to the path TARGET or into the directory TARGET.",
			example: "cp a.txt /archive/\ncp -r /patients/173 /archive/", flags: []flag{flagRecursive, flagKeep},
			min: 2, max: anyNumber, kinds: []kind{aRemote}, run: (*shell).cp},
		{name: "rm", usage: "rm [-rf] PATH…", short: "remove files and empty directories; with -r, directories with all below",
			example: "rm /notes/old.txt\nrm -r /notes", flags: []flag{flagRecursive, {'f', "force", "what is not there is no error"}},
			min: 1, max: anyNumber, kinds: []kind{aRemote}, run: (*shell).rm},
		{name: "cd", usage: "cd [PATH | -]", short: "change the current directory in the file system", long: "Relative paths begin there. Without PATH to the root, with - to where one was before.",
			example: "cd /patients/173\ncd ..", max: 1, kinds: []kind{aRemoteDir}, run: (*shell).cd},
		{name: "pwd", usage: "pwd", short: "show the current directory in the file system", example: "pwd", run: (*shell).pwd},
		{name: "lcd", usage: "lcd [DIRECTORY]", short: "change the current directory on this machine", long: "Relative local paths begin there. Without DIRECTORY, to the home directory.",
			example: "lcd ~/Documents", max: 1, kinds: []kind{aLocalDir}, run: (*shell).lcd},
		{name: "lpwd", usage: "lpwd", short: "show the current directory on this machine", example: "lpwd", run: (*shell).lpwd},
		{name: "clear-cache", usage: "clear-cache", short: "wipe the decrypted local copies", long: "Asks, then removes all that lies in the directory of the copies, also from earlier sessions.",
			example: "clear-cache", run: (*shell).clearCache},
		{name: "help", usage: "help [COMMAND]", short: "list the commands, or tell of one", example: "help find", max: 1, kinds: []kind{aCommand}, run: (*shell).help},
		{name: "exit", usage: "exit", short: "end this session, as Ctrl-D does", example: "exit", run: (*shell).exit},
		{name: "stop", usage: "stop", short: "end the client, and its container where it runs in one",
			long:    "Ends this session. Where efsc is a container's main process, or was entered with\n`docker exec` into one, the container is shut down.",
			example: "stop", run: (*shell).stop},
	}
}
