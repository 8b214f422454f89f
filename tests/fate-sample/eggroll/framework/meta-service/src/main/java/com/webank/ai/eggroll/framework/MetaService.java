package com.webank.ai.eggroll.framework;

import com.webank.ai.eggroll.core.server.LineServer;
import java.io.IOException;

/** {@code -c conf/meta-service.properties}; the sample names its database and does not connect to it. */
public final class MetaService {
    private MetaService() {}

    public static void main(String[] args) throws IOException {
        LineServer server = new LineServer("meta-service", args);
        server.log("database " + server.get("jdbc.url", ""));
        server.serve("service.port");
    }
}
