package openapi

import (
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/flovyn/flovyn-server/internal/rest"
)

// object is an object of the document; its members are written in order.
type object = map[string]any

const about = `The REST API of Flovyn Server. The same procedures are served as gRPC, gRPC-Web and Connect (` +
	"`flovyn.api.v1`" + `), on the same ports.

* Payloads, such as inputs and outputs, are JSON values that are kept byte for byte.
* In requests null means absent. An unknown field or parameter is refused.
* In answers a field that has nothing to say is null; empty maps are left out.
* Failures are ` + "`{\"error\": \"...\", \"details\": [{\"path\": \"/field\", \"message\": \"...\"}]}`" + `, with details where a field is at fault.`

// document is being made.
type document struct {
	root    object
	paths   object
	schemas object
	tags    map[string]bool
	words   map[string]string
}

func newDocument(words map[string]string, version string) *document {
	d := &document{paths: object{}, schemas: object{}, tags: map[string]bool{}, words: words}
	d.schemas["Error"] = object{
		"type": "object", "required": []string{"error"},
		"properties": object{
			"error": object{"type": "string", "description": "What is wrong, for people."},
			"details": object{
				"type": "array", "description": "The fields at fault.",
				"items": object{
					"type": "object", "required": []string{"path", "message"},
					"properties": object{
						"path":    object{"type": "string", "description": "A JSON pointer into the request."},
						"message": object{"type": "string"},
					},
				},
			},
		},
		"example": object{"error": "not found"},
	}
	d.root = object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Flovyn Server", "version": version, "description": about,
			"license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":  []any{object{"url": "/"}},
		"security": []any{object{"bearer_auth": []string{}}},
		"tags":     []any{},
		"paths":    d.paths,
		"components": object{
			"schemas":   d.schemas,
			"responses": failures(),
			"securitySchemes": object{"bearer_auth": object{
				"type": "http", "scheme": "bearer",
				"description": "A signed token, an API key (flovyn_sk_..., flovyn_wk_...) or a worker token (fwt_...).",
			}},
		},
	}
	return d
}

// failure is an answer that many operations share.
type failure struct {
	status  int
	name    string
	meaning string
	example string
}

// everywhere can happen to any request; sent only to one with a body.
var (
	everywhere = []failure{
		{http.StatusBadRequest, "BadRequest", "The request is wrong, or what it is about is in a state that does not allow it.", "/limit: want a number"},
		{http.StatusUnauthorized, "Unauthorized", "There is no credential, or it is not accepted.", "missing or invalid credentials"},
		{http.StatusForbidden, "Forbidden", "The caller may not do this.", "Access denied"},
		{http.StatusNotFound, "NotFound", "There is no such thing, or it is another organization's.", "not found"},
		{http.StatusTooManyRequests, "TooManyRequests", "A limit is reached; Retry-After says when to try again.", "too many requests"},
		{statusClientClosed, "Canceled", "The client went away before the answer.", "the request was canceled"},
		{http.StatusInternalServerError, "InternalError", "The server failed; its log has the reason under the id in the text.", "internal error"},
		{http.StatusNotImplemented, "NotImplemented", "The server does not offer this.", "not implemented"},
		{http.StatusServiceUnavailable, "Unavailable", "Something the server needs does not answer; try again.", "the database does not answer"},
		{http.StatusGatewayTimeout, "Timeout", "The request's deadline passed.", "the request's deadline passed"},
	}
	sent = []failure{
		{http.StatusConflict, "Conflict", "The name or key is taken, or something else was changed at the same time.", "the name is taken"},
		{http.StatusRequestEntityTooLarge, "TooLarge", "The body, or a field of it, exceeds its limit.", "the body exceeds the limit of 4194304 bytes"},
		{http.StatusUnsupportedMediaType, "UnsupportedMediaType", "The body is not declared as JSON.", "the body must be JSON in UTF-8, with the header Content-Type: application/json"},
	}
)

const statusClientClosed = 499

func failures() object {
	all := object{}
	for _, f := range append(append([]failure{}, everywhere...), sent...) {
		answer := object{
			"description": f.meaning,
			"content": object{"application/json": object{
				"schema": object{"$ref": "#/components/schemas/Error"}, "example": object{"error": f.example},
			}},
		}
		if f.status == http.StatusTooManyRequests || f.status == http.StatusServiceUnavailable {
			answer["headers"] = object{"Retry-After": object{
				"description": "Seconds.", "schema": object{"type": "integer"},
			}}
		}
		all[f.name] = answer
	}
	return all
}

// add describes an operation.
func (d *document) add(o *rest.Operation) {
	service := o.Procedure.Parent()
	tag := title(strings.TrimSuffix(string(service.Name()), "Service"))
	if !d.tags[tag] {
		d.tags[tag] = true
		tags, _ := d.root["tags"].([]any)
		d.root["tags"] = append(tags, object{"name": tag, "description": d.words[string(service.FullName())]})
	}
	words := d.words[string(o.Procedure.FullName())]
	summary, _, _ := strings.Cut(words, ". ")
	operation := object{
		"operationId": string(o.Procedure.Name()), "tags": []string{tag},
		"summary": strings.TrimSuffix(summary, "."), "description": words, "responses": d.responses(o),
	}
	if parameters := d.parameters(o); len(parameters) > 0 {
		operation["parameters"] = parameters
	}
	if o.HasBody {
		operation["requestBody"] = d.body(o)
	}
	path := o.Path
	for _, variable := range o.Variables { // they are called as in JSON
		path = strings.Replace(path, "{"+string(variable.Name())+"}", "{"+variable.JSONName()+"}", 1)
	}
	item, ok := d.paths[path].(object)
	if !ok {
		item = object{}
		d.paths[path] = item
	}
	item[strings.ToLower(o.Method)] = operation
}

// title puts spaces into a name: WorkflowExecution is Workflow Execution.
func title(name string) string {
	var b strings.Builder
	for i, c := range name {
		if i > 0 && c >= 'A' && c <= 'Z' {
			b.WriteByte(' ')
		}
		b.WriteRune(c)
	}
	return b.String()
}

func (d *document) parameters(o *rest.Operation) []any {
	var all []any
	for _, field := range o.Variables {
		schema := d.value(field, asked)
		all = append(all, d.parameter(object{"name": field.JSONName(), "in": "path", "required": true}, field, schema))
	}
	for _, p := range o.Query {
		schema := d.value(p.Field, asked)
		if p.Field.IsList() {
			schema = object{"type": "array", "items": schema}
		}
		parameter := object{"name": p.Name, "in": "query"}
		if demanded(p.Field) {
			parameter["required"] = true
		}
		all = append(all, d.parameter(parameter, p.Field, schema))
	}
	if o.Stream {
		all = append(all, object{
			"name": "Last-Event-ID", "in": "header", "schema": object{"type": "string"},
			"description": "The id of the last event that was received: the stream goes on after it.",
		})
	}
	return all
}

func (d *document) parameter(parameter object, field protoreflect.FieldDescriptor, schema object) object {
	if words := d.words[string(field.FullName())]; words != "" {
		parameter["description"] = words
	}
	parameter["schema"] = schema
	if parameter["required"] == true {
		parameter["example"] = d.exampleOf(field, asked)
	}
	return parameter
}

func (d *document) body(o *rest.Operation) object {
	schema := d.message(o.Procedure.Input(), asked, o.Variables)
	_, demands := schema["required"]
	return object{
		"required": demands,
		"content": object{"application/json": object{
			"schema": schema, "example": d.example(o.Procedure.Input(), asked, o.Variables, nil),
		}},
	}
}

func (d *document) responses(o *rest.Operation) object {
	all := object{}
	for _, f := range everywhere {
		all[strconv.Itoa(f.status)] = object{"$ref": "#/components/responses/" + f.name}
	}
	if o.HasBody || o.Method == http.MethodDelete {
		for _, f := range sent {
			all[strconv.Itoa(f.status)] = object{"$ref": "#/components/responses/" + f.name}
		}
	}
	switch {
	case o.Stream:
		all["200"] = object{
			"description": "Server-sent events, until the client leaves or there is nothing more to come. " +
				"A comment every 15 seconds keeps the stream alive. A failure after the beginning is an event named error.",
			"content": object{"text/event-stream": object{
				"schema":  object{"type": "string", "description": d.words[string(o.Procedure.Output().FullName())]},
				"example": "id: 1\nevent: data\ndata: {\"type\":\"Event\"}\n\n",
			}},
		}
		return all
	case o.Status == http.StatusNoContent:
		all["204"] = object{"description": "It is done."}
		return all
	}
	schema, example := d.answer(o)
	content := object{"application/json": object{"schema": schema, "example": example}}
	answer := object{"description": "It is done.", "content": content}
	switch {
	case o.Status == http.StatusCreated:
		answer["description"] = "It was created."
		answer["headers"] = object{"Location": object{
			"description": "Where it is, if it has a path of its own.", "schema": object{"type": "string"},
		}}
		if o.Created != nil {
			all["200"] = object{"description": "It was there already.", "content": content}
		}
	case o.Single:
		answer["headers"] = object{"ETag": object{
			"description": "Names this state; send it as If-None-Match.", "schema": object{"type": "string"},
		}}
		all["304"] = object{"description": "Nothing has changed since the state that If-None-Match names."}
	}
	all[strconv.Itoa(o.Status)] = answer
	return all
}

// answer describes the body of a success.
func (d *document) answer(o *rest.Operation) (schema, example any) {
	if o.Response != nil {
		return d.field(o.Response, told), d.exampleOf(o.Response, told)
	}
	out := o.Procedure.Output()
	return d.refer(out, told), d.example(out, told, nil, nil)
}
