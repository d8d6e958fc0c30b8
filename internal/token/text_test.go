package token

import "testing"

// Every letter is as likely as any other, within what chance allows.
func TestRandomIsFair(t *testing.T) {
	t.Parallel()
	const each = 1000
	text := random(each * len(alphabet))
	count := map[rune]int{}
	for _, letter := range text {
		count[letter]++
	}
	if len(count) != len(alphabet) {
		t.Errorf("%d letters of %d", len(count), len(alphabet))
	}
	for letter, n := range count {
		if n < each*8/10 || n > each*12/10 {
			t.Errorf("%c came %d times, want about %d", letter, n, each)
		}
	}
	first := random(44)
	if first == random(44) {
		t.Error("twice the same")
	}
}
