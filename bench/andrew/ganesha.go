package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"text/template"

	"bfsd/internal/kernelclient"
)

// ganeshaScript is the first process of a server's own process and mount namespaces, so that nothing outlives it and nothing
// of the machine's is touched: it starts rpcbind, which Ganesha insists on, and Ganesha.
//
//go:embed ganesha.sh
var ganeshaScript string

// ganeshaConfig is what Ganesha is told.
//
//go:embed ganesha.conf
var ganeshaConfig string

// memInodeBytes is what FSAL_MEM keeps of each file at most.
const memInodeBytes = 1 << 20

func missingGaneshaMem(o options) error {
	if o.Workload == workloadSequential {
		return errors.New("nfs-ganesha's FSAL_MEM keeps the first MiB or two of a file and makes the rest up")
	}
	return missingGanesha("mem")
}

func missingGaneshaVFS(options) error { return missingGanesha("vfs") }

// missingGanesha tells what is not installed for the file system abstraction layer of the name given.
func missingGanesha(fsal string) error {
	for program, debian := range map[string]string{"ganesha.nfsd": "nfs-ganesha", "rpcbind": "rpcbind"} {
		if _, err := exec.LookPath(program); err != nil {
			return notInstalled(debian)
		}
	}
	found, err := filepath.Glob("/usr/lib/*/ganesha/libfsal" + fsal + ".so")
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return notInstalled("nfs-ganesha-" + fsal)
	}
	return kernelclient.Available()
}

func notInstalled(debian string) error {
	return fmt.Errorf("the Debian package %s is not installed (make bench-deps installs it)", debian)
}

func startGaneshaMem(ctx context.Context, b *benchmark, l launcher, _ trial) (*server, error) {
	return b.startGanesha(ctx, l, targetGaneshaMem, "MEM")
}

func startGaneshaVFS(ctx context.Context, b *benchmark, l launcher, _ trial) (*server, error) {
	return b.startGanesha(ctx, l, targetGaneshaVFS, "VFS")
}

// startGanesha starts Ganesha on a directory of its own, which it uses if the FSAL is VFS.
func (b *benchmark) startGanesha(ctx context.Context, l launcher, name, fsal string) (*server, error) {
	s, err := b.newServer(ctx, l, name)
	if err != nil {
		return nil, err
	}
	s.mountPort = s.port + 1
	if err := b.makeDir(s); err != nil {
		return nil, err
	}
	s.export = filepath.Join(s.dir, "export")
	config := filepath.Join(s.dir, "ganesha.conf")
	if err := writeGaneshaConfig(config, s, fsal); err != nil {
		return nil, errors.Join(err, s.clean())
	}
	cmd := l.command(context.WithoutCancel(ctx), "sh", "-euc", ganeshaScript, "ganesha", config)
	cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNS | syscall.CLONE_NEWPID
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // all that is in the process namespace goes with its first process
	if s.process, err = startProcess(name, cmd); err != nil {
		return nil, errors.Join(err, s.clean())
	}
	s.halt = s.process.stop
	return s, nil
}

func writeGaneshaConfig(file string, s *server, fsal string) error {
	if err := os.Mkdir(s.export, 0o755); err != nil {
		return fmt.Errorf("make a directory for Ganesha to export: %w", err)
	}
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("write Ganesha's configuration: %w", err)
	}
	err = template.Must(template.New("").Parse(ganeshaConfig)).Execute(f, map[string]any{
		"Port": s.port, "MountPort": s.mountPort, "Export": s.export, "FSAL": fsal, "InodeBytes": memInodeBytes,
	})
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write Ganesha's configuration: %w", err)
	}
	return nil
}
