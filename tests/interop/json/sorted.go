// Reads one JSON text a line, itself written as a JSON string, and writes a line with what
// encoding/json makes of its value: numbers as they are (UseNumber), no HTML escaping.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		var text string
		check(json.Unmarshal(lines.Bytes(), &text))
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		var value any
		check(decoder.Decode(&value))
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		check(encoder.Encode(value)) // ends in a newline
	}
	check(lines.Err())
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
