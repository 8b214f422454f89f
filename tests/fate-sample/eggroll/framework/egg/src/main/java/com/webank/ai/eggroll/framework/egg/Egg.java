package com.webank.ai.eggroll.framework.egg;

import com.webank.ai.eggroll.core.server.LineServer;
import java.io.File;
import java.io.IOException;

/** {@code -c conf/egg.properties}; tells which of the files that upstream starts processors with are there. */
public final class Egg {
    private static final String PROCESSOR = "eggroll.computing.processor.";

    private Egg() {}

    public static void main(String[] args) throws IOException {
        LineServer server = new LineServer("egg", args);
        for (String key : new String[] {"bootstrap.script", "venv", "engine-path"}) {
            String path = server.get(PROCESSOR + key, "");
            server.log(key + " " + (path.isEmpty() ? "not set" : path + (new File(path).exists() ? "" : " (missing)")));
        }
        server.serve("service.port");
    }
}
