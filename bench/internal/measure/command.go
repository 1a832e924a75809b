package measure

import (
	"os"
	"path/filepath"
	"strings"
)

// Command is this process's command line as a reader would repeat it: program is the package that go run is given. Absolute
// paths lose their directories, which mean nothing elsewhere.
func Command(program string) []string {
	command := []string{"go", "run", program}
	for _, arg := range os.Args[1:] {
		command = append(command, Portable(arg))
	}
	return command
}

// Portable leaves of an absolute path its last element, also behind the equals sign of a flag.
func Portable(arg string) string {
	flag, value, found := strings.Cut(arg, "=")
	if !found || !strings.HasPrefix(flag, "-") {
		flag, value = "", arg
	} else {
		flag += "="
	}
	if filepath.IsAbs(value) {
		value = filepath.Base(value)
	}
	return flag + value
}
