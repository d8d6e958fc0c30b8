// Protoc-gen-comments writes the comments of flovyn.api.v1 to comments.json: by the
// full names of services, methods, messages and fields. Go's generated code leaves
// them out of the descriptors, and the documentation of the API is made of them.
package main

import (
	"encoding/json"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	protogen.Options{}.Run(func(plugin *protogen.Plugin) error {
		plugin.SupportedFeatures = uint64(pluginpb.CodeGeneratorResponse_FEATURE_PROTO3_OPTIONAL)
		comments := map[string]string{}
		add := func(name protoreflect.FullName, c protogen.CommentSet) {
			if text := plain(string(c.Leading)); text != "" {
				comments[string(name)] = text
			}
		}
		for _, file := range plugin.Files {
			if !file.Generate || file.Desc.Package() != "flovyn.api.v1" {
				continue
			}
			for _, service := range file.Services {
				add(service.Desc.FullName(), service.Comments)
				for _, method := range service.Methods {
					add(method.Desc.FullName(), method.Comments)
				}
			}
			for _, message := range file.Messages {
				addMessage(add, message)
			}
		}
		text, err := json.MarshalIndent(comments, "", "\t")
		if err != nil {
			return err
		}
		_, err = plugin.NewGeneratedFile("comments.json", "").Write(append(text, '\n'))
		return err
	})
}

func addMessage(add func(name protoreflect.FullName, c protogen.CommentSet), message *protogen.Message) {
	add(message.Desc.FullName(), message.Comments)
	for _, field := range message.Fields {
		add(field.Desc.FullName(), field.Comments)
	}
	for _, inner := range message.Messages {
		addMessage(add, inner)
	}
}

// plain joins the lines of a comment; an empty line stays one.
func plain(comment string) string {
	var paragraphs []string
	for _, paragraph := range strings.Split(comment, "\n\n") {
		if words := strings.Join(strings.Fields(paragraph), " "); words != "" {
			paragraphs = append(paragraphs, words)
		}
	}
	return strings.Join(paragraphs, "\n\n")
}
