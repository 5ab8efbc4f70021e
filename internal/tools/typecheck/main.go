// Command typecheck loads packages for several platforms, and fails where one would not compile. It
// reads sources alone: building a program and the standard library for another platform takes ten
// times as long.
//
//	typecheck DIR PACKAGE GOOS/GOARCH...
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"golang.org/x/tools/go/packages"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 4 {
		log.Fatal("usage: typecheck DIR PACKAGE GOOS/GOARCH...")
	}
	for _, platform := range os.Args[3:] {
		if err := check(os.Args[1], os.Args[2], platform); err != nil {
			log.Fatalf("%s: %v", platform, err)
		}
	}
}

// check loads a package, with all that it imports, for a platform.
func check(dir, name, platform string) error {
	goos, goarch, _ := strings.Cut(platform, "/")
	all, err := packages.Load(&packages.Config{
		Mode: packages.LoadAllSyntax | packages.NeedTypesSizes, //nolint:staticcheck // there is no other name for all of it
		Dir:  dir,
		Env:  append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch),
	}, name)
	if err != nil {
		return fmt.Errorf("load %s: %w", name, err)
	}
	if packages.PrintErrors(all) > 0 {
		return errors.New("it does not compile")
	}
	return nil
}
