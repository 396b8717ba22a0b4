// Results come over one stream, which the server closes when nothing is left to say. Gradio's client
// closes its end when it hears of that, also where an event was taken up meanwhile: that event would
// never be heard of again. Here such a stream goes on with a new one.
(() => {
  const ask = window.fetch.bind(window);
  const waiting = new Set(); // events that were taken up and have not ended
  const ended = new Set(); // events whose end was heard before it was read that they were taken up
  const HEAD = /^data: ?\{"msg": ?"(\w+)"(?:, ?"event_id": ?"(\w+)")?/;

  async function* messages(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (text + value).split("\n\n");
      text = parts.pop();
      yield* parts;
    }
  }

  const joined = async (request, response, controller) => {
    const encoder = new TextEncoder();
    try {
      while (response) {
        let next = null;
        for await (const message of messages(response)) {
          const [, kind, event] = HEAD.exec(message) ?? [];
          if (kind === "process_completed" && !waiting.delete(event)) ended.add(event);
          if (kind === "close_stream" && waiting.size) next = ask(request.clone());
          else controller.enqueue(encoder.encode(`${message}\n\n`));
        }
        response = await next;
      }
      controller.close();
    } catch (error) {
      controller.error(error);
    }
  };

  window.fetch = async (input, options) => {
    const request = new Request(input, options);
    const { pathname } = new URL(request.url);
    const again = pathname.endsWith("/queue/data") ? request.clone() : null;
    const response = await ask(request);
    if (response.ok && pathname.endsWith("/queue/join")) {
      const { event_id: event } = await response.clone().json();
      if (!ended.delete(event)) waiting.add(event);
    }
    if (!response.ok || !again) return response;
    const body = new ReadableStream({
      start: (controller) => void joined(again, response, controller),
    });
    return new Response(body, { headers: response.headers });
  };
})();
