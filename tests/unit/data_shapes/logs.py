"""Shapes of API logs: those of the tests of logs, each under the name that people know it by."""

from tests.unit.data_shapes.shape import Shape
from tests.unit.test_data_logs import CUT, ROWS

_NAMES = {
    ("chat-log", "request and response"): "OpenAI request and response",
    ("chat-log", "batch"): "OpenAI batch, request and response joined",
    ("chat-log", "proxy"): "LiteLLM payloads (messages, response, model_parameters)",
    ("chat-log", "bodies"): "Helicone (request_body, response_body)",
    ("chat-log", "observer"): "Langfuse (input, output)",
    ("chat-log", "names of its own"): "prompt_messages and completion_message",
    ("chat-log", "local server"): "Ollama (message)",
    ("chat-log", "chunks"): "streamed chunks",
    ("chat-log", "events"): "server-sent events",
    ("chat-log", "claude"): "Anthropic request and response",
    ("chat-log", "claude, streamed"): "Anthropic stream of events",
    ("responses-log", "stored"): "stored OpenAI responses",
    ("responses-log", "request and response"): "OpenAI Responses request and response",
    ("responses-log", "rollout"): "NeMo Gym rollouts",
    ("gemini", "tuning"): "Gemini tuning set (contents)",
    ("gemini", "log"): "Gemini request and candidates",
    ("bedrock", "converse"): "Bedrock Converse (toolUse, toolConfig)",
    ("langchain-runs", "run of a model"): "LangSmith run of a model",
    ("langchain-runs", "run of a graph"): "LangSmith run of a graph",
    ("langchain-runs", "state"): "LangGraph state",
    ("langchain-runs", "constructors"): "LangChain serialised messages",
}

SHAPES = (
    *(Shape(name, [ROWS[source][kind]]) for (source, kind), name in _NAMES.items()),
    Shape("answers cut by the token limit", [ROWS["chat-log"]["request and response"], CUT["length"], CUT["filter"]]),
)
