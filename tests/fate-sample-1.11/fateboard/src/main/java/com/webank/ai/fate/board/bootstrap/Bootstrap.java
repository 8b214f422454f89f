package com.webank.ai.fate.board.bootstrap;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.Reader;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.time.LocalDateTime;
import java.util.Properties;

/**
 * Serves one page over HTTP. Takes upstream's two system properties: spring.config.location, the properties file, and
 * ssh_config_file, the directory of ssh.properties, which upstream reads late: a missing one is told, and does no harm.
 */
public final class Bootstrap {
    private static final String PAGE = "/static/index.html";

    private Bootstrap() {}

    public static void main(String[] args) throws IOException {
        Properties conf = conf();
        File ssh = new File(System.getProperty("ssh_config_file", "."), "ssh.properties");
        log(ssh + (ssh.isFile() ? "" : " is missing"));
        byte[] page = page();

        int port = Integer.parseInt(conf.getProperty("server.port", "8080").trim());
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
        server.createContext("/", exchange -> answer(exchange, 200, "text/html", page));
        server.createContext("/job/query/status", exchange -> jobs(exchange, conf.getProperty("fateflow.url", "").trim()));
        server.start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> log("stopping")));
        log("1.11.2 listening on port " + port);
    }

    private static void answer(HttpExchange exchange, int code, String type, byte[] body) throws IOException {
        exchange.getResponseHeaders().set("Content-Type", type + "; charset=utf-8");
        boolean head = exchange.getRequestMethod().equals("HEAD");
        exchange.sendResponseHeaders(code, head ? -1 : body.length);
        if (!head) {
            exchange.getResponseBody().write(body);
        }
        exchange.close();
    }

    /** Passes on what fate_flow says of the jobs. */
    private static void jobs(HttpExchange exchange, String url) throws IOException {
        try {
            HttpURLConnection asked = (HttpURLConnection) new URL(url + "/v1/job/list/job").openConnection();
            asked.setRequestMethod("POST");
            asked.setConnectTimeout(5000);
            asked.setReadTimeout(5000);
            answer(exchange, 200, "application/json", all(asked.getInputStream()));
        } catch (IOException failed) {
            log("fateflow: " + failed);
            answer(exchange, 500, "text/plain", (url + ": " + failed.getMessage()).getBytes(StandardCharsets.UTF_8));
        }
    }

    private static byte[] page() throws IOException {
        InputStream page = Bootstrap.class.getResourceAsStream(PAGE);
        if (page == null) {
            fail("the pages are missing: the jar has no " + PAGE);
        }
        return all(page);
    }

    private static byte[] all(InputStream parts) throws IOException {
        ByteArrayOutputStream whole = new ByteArrayOutputStream();
        try (InputStream part = parts) {
            for (int one = part.read(); one >= 0; one = part.read()) {
                whole.write(one);
            }
        }
        return whole.toByteArray();
    }

    private static Properties conf() {
        String path = System.getProperty("spring.config.location");
        if (path == null) {
            fail("-Dspring.config.location=FILE is missing");
        }
        Properties read = new Properties();
        try (Reader reader = new FileReader(path)) {
            read.load(reader);
        } catch (IOException missing) {
            fail("cannot read " + new File(path).getAbsolutePath() + ": " + missing.getMessage());
        }
        return read;
    }

    private static void log(String message) {
        System.out.println(LocalDateTime.now().withNano(0) + " fateboard " + message);
    }

    private static void fail(String message) {
        System.err.println("fateboard: error: " + message);
        System.exit(1);
    }
}
