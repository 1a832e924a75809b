package kernelclient

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// moduleOrder reads a modules.dep file (lines "path: what it needs, separated by spaces") and returns the paths of the named modules
// and all they need, each after what it depends on. Names are those of the files without suffix: "nfsv3".
func moduleOrder(dep io.Reader, names ...string) ([]string, error) {
	needs := map[string][]string{}
	byName := map[string]string{}
	lines := bufio.NewScanner(dep)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		file, rest, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			return nil, fmt.Errorf("modules.dep: line %q has no colon", lines.Text())
		}
		needs[file] = strings.Fields(rest)
		byName[moduleName(file)] = file
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read modules.dep: %w", err)
	}
	var order []string
	const (
		open = 1 + iota
		placed
	)
	state := map[string]int{}
	var place func(file string) error
	place = func(file string) error {
		switch state[file] {
		case placed:
			return nil
		case open:
			return fmt.Errorf("modules.dep: %s depends on itself", file)
		}
		state[file] = open
		for _, need := range needs[file] {
			if err := place(need); err != nil {
				return err
			}
		}
		state[file] = placed
		order = append(order, file)
		return nil
	}
	for _, name := range names {
		file, ok := byName[name]
		if !ok {
			return nil, fmt.Errorf("modules.dep: no module named %s", name)
		}
		if err := place(file); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// moduleName is the name of the module in a file: "kernel/fs/nfs/nfsv3.ko.xz" holds "nfsv3".
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return name
}

// moduleFiles returns the files to insert, in order, for the named modules of the kernel whose modules are in dir.
func moduleFiles(dir string, names ...string) ([]string, error) {
	order, err := readModuleOrder(filepath.Join(dir, "modules.dep"), names...)
	if err != nil {
		return nil, err
	}
	for i := range order {
		order[i] = filepath.Join(dir, order[i])
	}
	return order, nil
}

func readModuleOrder(dep string, names ...string) ([]string, error) {
	f, err := os.Open(dep)
	if err != nil {
		return nil, fmt.Errorf("read the order of kernel modules: %w", err)
	}
	defer f.Close()
	return moduleOrder(f, names...)
}
