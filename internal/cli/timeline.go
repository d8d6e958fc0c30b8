package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/flovyn/flovyn-server/internal/cli/timeline"
)

// usualWidth is that of what is drawn where there is no terminal.
const usualWidth = 100

func (i *invocation) workflowTimeline() *cobra.Command {
	return &cobra.Command{
		Use: "timeline ID", Aliases: []string{"diagram"}, Short: "Draw when the parts of an execution ran", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			parts, err := timeline.Fetch(ctx, s.Management, s.Org, args[0])
			if err != nil {
				return err
			}
			return s.Message(parts.History, nil, func() {
				width := s.Width
				if width == 0 {
					width = usualWidth
				}
				scale, lines := timeline.Draw(timeline.Spans(parts), i.now(), width)
				s.Linef("%s", s.Dim(scale))
				for _, line := range lines {
					s.Linef("%s %s %s", line.Label, s.PaintAs(line.Status, line.Bar), line.Length)
				}
				s.Linef("%s", s.Dim(s.Fit(timeline.Legend, 0)))
			})
		}),
	}
}
